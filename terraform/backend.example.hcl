# Where backend.tf keeps the state. No secret belongs in here, nor is one in the
# state: credentials come from the environment, as for every other AWS call.

# A bucket that exists, made by other means than this root: what holds the state
# should outlive what it describes. Turn its versioning on, which is the way back
# to an older state, and block public access.
bucket = "example-terraform-state"

# The state's name in the bucket: one for each deployment. A second deployment
# (another `name`) needs another key.
key = "firstline/terraform.tfstate"

# The bucket's region, which need not be one that is deployed to. While it is
# down, nothing can be deployed anywhere.
region = "eu-west-1"

# Locks with an object KEY.tflock, so that two people cannot deploy at once.
# Besides s3:ListBucket on the bucket, the caller needs s3:GetObject and
# s3:PutObject on KEY, and these and s3:DeleteObject on KEY.tflock.
use_lockfile = true

# Encrypts the state at rest (SSE-S3; with a key of your own if kms_key_id names
# one).
encrypt = true
