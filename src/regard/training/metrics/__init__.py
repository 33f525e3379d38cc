"""How good predictions are: one metric or a task's usual ones, counted batch by batch."""
