from django.dispatch import Signal

# Arguments: order (Order). Sent in the payment's transaction.
order_paid = Signal()
