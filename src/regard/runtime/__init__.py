"""How models run: the process's memory, and parts that take the place of a model's own."""
