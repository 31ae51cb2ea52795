"""The OpenAPI document: every route, and schemas that refuse what the server refuses, as far as a schema can tell."""
