"""One visitor's session: state, address, messages and the server."""
