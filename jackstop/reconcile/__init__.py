"""The books against the provider's: what a credential is reported to have cost, and what the gate can have caused."""
