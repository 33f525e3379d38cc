"""Training: a loop one can read (trainer.py), and callbacks for the rest."""
