"""Data planes carry the balancer's decisions to real connections and report what became of them."""
