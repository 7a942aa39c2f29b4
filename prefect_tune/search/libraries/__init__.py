"""Searchers whose optimisers are other libraries; each imports its library when it is made."""
