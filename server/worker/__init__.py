"""The worker edge: jobs from the queue into use cases, errors into retries."""
