"""What users say about copies in storage, and syncers of their own."""
