"""MobCLIP: general-purpose embeddings of places."""
