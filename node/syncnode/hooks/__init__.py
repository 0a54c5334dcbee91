"""Hooks: programs and addresses that are told which rows were written."""
