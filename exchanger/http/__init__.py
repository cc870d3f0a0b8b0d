"""HTTP/1.1 on the server's side: a bounded server over h11, its messages, and the names that a server may be addressed by."""
