"""Readers of exported scenes that share nothing with what wrote them: pxr's USD, and readers of our own for FBX and Alembic."""
