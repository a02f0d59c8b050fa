# Pratique by its Helm chart, which lies beside this module.

locals {
  chart = "${path.module}/../helm/pratique"

  # From here to there, the later wins.
  values = [
    file("${local.chart}/profiles/${var.profile}.yaml"),
    yamlencode({
      keys        = { existingSecret = kubernetes_secret_v1.keys.metadata[0].name }
      credentials = nonsensitive(keys(var.credentials))
    }),
    var.image == null ? "{}" : yamlencode({ image = { for k, v in var.image : k => v if v != null } }),
    length(var.upstreams) == 0 ? "{}" : yamlencode({ config = { upstreams = var.upstreams } }),
    length(var.exempt_namespaces) == 0 ? "{}" : yamlencode({ admission = { namespaces = { exempt = var.exempt_namespaces } } }),
    yamlencode(var.values),
  ]
}

resource "kubernetes_namespace_v1" "pratique" {
  metadata {
    name = var.namespace
    labels = {
      "pod-security.kubernetes.io/enforce" = "restricted"
    }
  }
}

# Keys are made here, and not by the chart: a chart that is rendered without a
# cluster would make new ones each time.
resource "random_bytes" "hmac" {
  length = 48
}

resource "random_bytes" "token" {
  length = 48
}

resource "random_password" "redis" {
  length  = 40
  special = false
}

resource "kubernetes_secret_v1" "keys" {
  metadata {
    name      = "${var.name}-keys"
    namespace = kubernetes_namespace_v1.pratique.metadata[0].name
  }

  data = {
    "hmac-key"       = random_bytes.hmac.base64
    "token-key"      = random_bytes.token.base64
    "redis-password" = var.redis_password != "" ? var.redis_password : random_password.redis.result
  }
}

resource "kubernetes_secret_v1" "credentials" {
  for_each = nonsensitive(toset(keys(var.credentials)))

  metadata {
    name      = each.key
    namespace = kubernetes_namespace_v1.pratique.metadata[0].name
  }

  data = var.credentials[each.key]
}

resource "helm_release" "pratique" {
  name      = var.name
  namespace = kubernetes_namespace_v1.pratique.metadata[0].name
  chart     = local.chart
  values    = local.values
  timeout   = var.timeout

  depends_on = [kubernetes_secret_v1.credentials]
}

# The chart's names (templates/_helpers.tpl).
locals {
  fullname = strcontains(var.name, "pratique") ? var.name : "${var.name}-pratique"
  service  = "${local.fullname}.${var.namespace}.svc"
  webhook  = local.fullname == var.namespace ? local.fullname : "${var.namespace}-${local.fullname}"
}
