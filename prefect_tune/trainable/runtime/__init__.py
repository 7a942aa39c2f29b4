"""What runs next to user code in a trial: the session, automatic metrics and checkpoint drafts."""
