"""Migrations of the tables, by Alembic."""
