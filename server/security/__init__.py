"""Who may do what: access, token, audit."""
