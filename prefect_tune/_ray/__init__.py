"""What Ray Tune has and this package has elsewhere, later, or not at all."""
