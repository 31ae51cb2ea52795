"""Attacks on a real server from outside: nothing that one client sends may end it, block it or fill its machine."""
