"""Changes become events, events become notifications: topics, dispatch, notify."""
