"""The `dynamo` command: its verbs, at a shell and in a notebook."""
