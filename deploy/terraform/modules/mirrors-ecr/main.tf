# Pull-through cache rules of Amazon ECR, and Pratique's upstreams for them: nodes ask
# Pratique for docker.io/library/nginx, Pratique asks ECR, ECR asks Docker Hub.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

variable "mirrors" {
  description = "Registry that is mirrored (docker.io) to the ECR prefix, the registry's host, and the ARN of a Secrets Manager secret (ecr-pullthroughcache/...) that Docker Hub, GHCR and GitLab require."
  type = map(object({
    prefix         = string
    host           = string
    credential_arn = optional(string)
  }))
  default = {
    "quay.io"         = { prefix = "quay", host = "quay.io" }
    "registry.k8s.io" = { prefix = "k8s", host = "registry.k8s.io" }
  }
}

variable "username" {
  description = "Account that Pratique shows ECR."
  type        = string
  default     = "AWS"
}

variable "password_file" {
  description = "File in the Pod with the password. ECR's are good for 12 hours: something has to renew the Secret."
  type        = string
  default     = "/run/secrets/ecr/password"
}

data "aws_caller_identity" "this" {}

data "aws_region" "this" {}

locals {
  registry = "${data.aws_caller_identity.this.account_id}.dkr.ecr.${data.aws_region.this.name}.amazonaws.com"
}

resource "aws_ecr_pull_through_cache_rule" "mirror" {
  for_each = var.mirrors

  ecr_repository_prefix = each.value.prefix
  upstream_registry_url = each.value.host
  credential_arn        = each.value.credential_arn
}

output "registry" {
  description = "The ECR registry of the account."
  value       = local.registry
}

output "upstreams" {
  description = "For the variable upstreams of the module above: the ECR registry, with the mirrors under their prefixes."
  value = [{
    name        = "ecr"
    prefix      = local.registry
    url         = "https://${local.registry}"
    credentials = { type = "basic", username = var.username, password_file = var.password_file }
  }]
}

output "rewrites" {
  description = "What stands for what: docker.io becomes REGISTRY/prefix. For admission.config.mutation.rewrite of the chart, behind the name of Pratique."
  value       = { for host, m in var.mirrors : host => "${local.registry}/${aws_ecr_pull_through_cache_rule.mirror[host].ecr_repository_prefix}" }
}
