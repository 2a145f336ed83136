"""Synthorax: do synthetic chest radiographs help a classifier, and how sure are we?"""
