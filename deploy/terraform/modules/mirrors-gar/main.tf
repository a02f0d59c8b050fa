# Remote repositories of Google Artifact Registry, and Pratique's upstreams for them.

terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.20"
    }
  }
}

variable "project" {
  description = "Project of the repositories."
  type        = string
}

variable "location" {
  description = "Region of the repositories, europe-west1."
  type        = string
}

variable "mirrors" {
  description = "Registry that is mirrored (docker.io) to the repository's id and the registry's address."
  type = map(object({
    repository = string
    url        = string
  }))
  default = {
    "docker.io" = { repository = "hub", url = "https://registry-1.docker.io" }
    "quay.io"   = { repository = "quay", url = "https://quay.io" }
  }
}

variable "password_file" {
  description = "File in the Pod with the key of a service account (JSON) that may read the repositories."
  type        = string
  default     = "/run/secrets/gar/key.json"
}

locals {
  registry = "${var.location}-docker.pkg.dev"
}

resource "google_artifact_registry_repository" "mirror" {
  for_each = var.mirrors

  project       = var.project
  location      = var.location
  repository_id = each.value.repository
  description   = "Mirror of ${each.key}, for Pratique"
  format        = "DOCKER"
  mode          = "REMOTE_REPOSITORY"

  remote_repository_config {
    docker_repository {
      custom_repository {
        uri = each.value.url
      }
    }
  }
}

output "registry" {
  description = "The registry of the region."
  value       = local.registry
}

output "upstreams" {
  description = "For the variable upstreams of the module above."
  value = [{
    name        = "gar"
    prefix      = local.registry
    url         = "https://${local.registry}"
    credentials = { type = "basic", username = "_json_key", password_file = var.password_file }
  }]
}

output "rewrites" {
  description = "What stands for what: docker.io becomes REGISTRY/project/repository. For admission.config.mutation.rewrite of the chart, behind the name of Pratique."
  value       = { for host, r in google_artifact_registry_repository.mirror : host => "${local.registry}/${var.project}/${r.repository_id}" }
}
