from django.dispatch import Signal

# Arguments: order (Order). Sent in the transaction that pays it.
order_paid = Signal()
