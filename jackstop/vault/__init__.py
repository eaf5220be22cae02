"""Provider secrets and the key pepper, sealed under a key-encryption key that is not in the database."""
