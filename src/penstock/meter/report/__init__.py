"""Where the money went: the sums of a ledger, and a page that shows them."""
