"""One module a task: a volume in, what the task looks for out."""
