# Cache rules of Azure Container Registry, and Pratique's upstreams for them.

terraform {
  required_version = ">= 1.5"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 3.100"
    }
  }
}

variable "registry_id" {
  description = "Id of the registry."
  type        = string
}

variable "login_server" {
  description = "Its host, example.azurecr.io."
  type        = string
}

variable "mirrors" {
  description = "Registry that is mirrored (docker.io) to the name of the rule, which is the path in the registry too, and the id of a credential set."
  type = map(object({
    name              = string
    credential_set_id = optional(string)
  }))
  default = {
    "docker.io" = { name = "hub" }
    "quay.io"   = { name = "quay" }
  }
}

variable "username" {
  description = "Name of a token of the registry that may read."
  type        = string
}

variable "password_file" {
  description = "File in the Pod with the token's password."
  type        = string
  default     = "/run/secrets/acr/password"
}

resource "azurerm_container_registry_cache_rule" "mirror" {
  for_each = var.mirrors

  name                  = each.value.name
  container_registry_id = var.registry_id
  source_repo           = "${each.key}/*"
  target_repo           = "${each.value.name}/*"
  credential_set_id     = each.value.credential_set_id
}

output "upstreams" {
  description = "For the variable upstreams of the module above."
  value = [{
    name        = "acr"
    prefix      = var.login_server
    url         = "https://${var.login_server}"
    credentials = { type = "basic", username = var.username, password_file = var.password_file }
  }]
}

output "rewrites" {
  description = "What stands for what: docker.io becomes REGISTRY/name. For admission.config.mutation.rewrite of the chart, behind the name of Pratique."
  value       = { for host, r in azurerm_container_registry_cache_rule.mirror : host => "${var.login_server}/${r.name}" }
}
