output "namespace" {
  description = "Where Pratique is."
  value       = helm_release.pratique.namespace
}

output "registry" {
  description = "The registry, inside the cluster. Nodes need another name: serve.host among the values."
  value       = "${local.service}:5000"
}

output "api" {
  description = "API and pages, inside the cluster."
  value       = "${local.service}:8228"
}

output "emergency" {
  description = "The command that switches the admission webhook off."
  value       = "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration ${local.webhook} --ignore-not-found"
}
