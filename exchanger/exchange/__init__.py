"""The path of a token: verified, found in a cache or shared with equal requests, and exchanged within the limits of its issuer."""
