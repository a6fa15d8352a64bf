"""pipeline/models/builders."""
