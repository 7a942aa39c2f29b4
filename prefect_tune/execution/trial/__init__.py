"""Code of trial processes, and of the zygote that they are forked from."""
