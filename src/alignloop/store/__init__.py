"""People's data: schema, migrations, every SQL statement, and the one path by which a judgment gets in. Torch-free."""
