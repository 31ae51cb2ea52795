"""Load tests: everything here talks to servers over the network and never imports the product."""
