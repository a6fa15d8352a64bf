"""Packages: a model as it is deployed, in a folder that needs nothing of this program; and a model made anew from one."""
