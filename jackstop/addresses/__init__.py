"""Whose an address is: range data that the user fetched, imported into the home folder, and looked up."""
