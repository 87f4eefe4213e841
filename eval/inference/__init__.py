"""The encoder under evaluation, its predictions and sentence vectors."""
