"""What a supervisor, its workers and its clients speak: the control socket, the state directory, logs."""
