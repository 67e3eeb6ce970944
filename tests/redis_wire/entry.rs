//! Getting in: users, passwords, TLS, and what is told where nobody gets in.
