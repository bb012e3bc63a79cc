"""Communication of a supervisor, its workers and its clients: the control socket, the state directory, logs."""
