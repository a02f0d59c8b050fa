variable "name" {
  description = "Name of the Helm release."
  type        = string
  default     = "pratique"
}

variable "namespace" {
  description = "Namespace of all Pods; it is made."
  type        = string
  default     = "pratique"
}

variable "profile" {
  description = "One of the chart's profiles: observe, enforce, airgap, ha, minimal."
  type        = string
  default     = "observe"

  validation {
    condition     = contains(["observe", "enforce", "airgap", "ha", "minimal"], var.profile)
    error_message = "One of observe, enforce, airgap, ha, minimal."
  }
}

variable "image" {
  description = "Image of Pratique, as the chart's value image. null: as the profile has it."
  type = object({
    repository = string
    tag        = optional(string)
    digest     = optional(string)
  })
  default = null
}

variable "upstreams" {
  description = "Registries behind Pratique, as in docs/configuration.md; outputs of the mirrors' modules fit. Empty: the chart's."
  type        = any
  default     = []
}

variable "credentials" {
  description = "Passwords of upstreams: name of a Secret to its keys and values. Mounted at /run/secrets/NAME."
  type        = map(map(string))
  default     = {}
  sensitive   = true
}

variable "redis_password" {
  description = "Password of Redis. Empty: one is made, for the Redis of the chart."
  type        = string
  default     = ""
  sensitive   = true
}

variable "exempt_namespaces" {
  description = "Namespaces that the webhook is never asked about: those that nodes need to come up."
  type        = list(string)
  default     = []
}

variable "values" {
  description = "More values of the chart (docs/kubernetes.md); they win over all others."
  type        = any
  default     = {}
}

variable "timeout" {
  description = "How long to wait until everything is ready, in seconds; the first sync of vulnerability data takes minutes."
  type        = number
  default     = 1800
}
