"""Reads 3GPP measCollec, measData and mdc documents and Nokia OMeS."""
