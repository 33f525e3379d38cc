"""What people train for: one file per task, and a line in `registry.TASKS`."""
