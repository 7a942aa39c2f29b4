"""Distributed training: trials whose function runs in several processes, called workers."""
