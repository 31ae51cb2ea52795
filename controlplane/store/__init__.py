"""What is wanted and what has happened, in a database."""
