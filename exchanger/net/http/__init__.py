"""HTTP/1.1 for servers: a bounded server over h11, its messages, and the names by which a server may be addressed."""
