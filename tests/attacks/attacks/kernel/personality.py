# Turns off randomised addresses.
# expect: "refused EPERM"
attempt(call("personality", 0x0040000))
