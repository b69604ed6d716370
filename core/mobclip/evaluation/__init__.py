"""What a reviewer asks of embeddings, as pure functions: data in, tables out."""
