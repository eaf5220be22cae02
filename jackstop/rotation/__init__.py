"""Rotation: giving a credential a new secret at its provider, or making a stolen one useless, as a written intent."""
