"""Links to other sites: who is called and when, requests and answers over TLS, exchanges."""
